/** Buttons: a label always; drawn or written. */
import type { ComponentChildren, Ref } from 'preact';
import { Icon, type IconName } from './icons';

interface ButtonProps {
  icon?: IconName;
  label: string;
  name?: string; // for those who hear it among others; begins with the label
  kind?: 'plain' | 'quiet' | 'main' | 'danger';
  onClick: () => void;
  disabled?: boolean;
  describedBy?: string;
  children?: ComponentChildren;
  buttonRef?: Ref<HTMLButtonElement>;
}

export function Button(props: ButtonProps) {
  return (
    <button
      type="button"
      ref={props.buttonRef}
      class={`button ${props.kind ?? 'plain'}`}
      onClick={props.onClick}
      disabled={props.disabled}
      aria-label={props.name}
      aria-describedby={props.describedBy}
    >
      {props.icon && <Icon name={props.icon} />}
      <span>{props.children ?? props.label}</span>
    </button>
  );
}

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick: (event: MouseEvent) => void;
  disabled?: boolean;
  pressed?: boolean;
  expanded?: boolean;
  buttonRef?: Ref<HTMLButtonElement>;
  extra?: string;
}

export function IconButton(props: IconButtonProps) {
  return (
    <button
      type="button"
      ref={props.buttonRef}
      class={`icon-button ${props.extra ?? ''}`}
      aria-label={props.label}
      title={props.label}
      onClick={props.onClick}
      disabled={props.disabled}
      aria-pressed={props.pressed}
      aria-expanded={props.expanded}
    >
      <Icon name={props.icon} />
    </button>
  );
}
