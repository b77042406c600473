/** A button that opens a small panel under itself. Esc, a click outside and leaving it close it. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';

interface MenuProps {
  label: string; // for those who cannot see the button's content
  button: ComponentChildren;
  buttonClass: string;
  align: 'start' | 'end';
  up?: boolean;
  role: 'menu' | 'dialog';
  children: (close: () => void) => ComponentChildren;
}

function items(panel: HTMLElement | null): HTMLElement[] {
  return Array.from(panel?.querySelectorAll<HTMLElement>('[role^="menuitem"]') ?? []);
}

function moveFocus(panel: HTMLElement | null, key: string): boolean {
  const all = items(panel);
  const at = all.indexOf(document.activeElement as HTMLElement);
  const step: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
  if (!(key in step) || all.length === 0) return false;
  all[(step[key]! + all.length) % all.length]!.focus();
  return true;
}

export function Menu(props: MenuProps) {
  const [open, setOpen] = useState(false);
  const [turned, setTurned] = useState(false); // there was no room under the button
  const box = useRef<HTMLDivElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();

  const close = (): void => {
    setOpen(false);
    button.current?.focus();
  };

  useLayoutEffect(() => {
    const box = panel.current;
    if (box === null) return setTurned(false);
    const view = (box.closest('.scroller') ?? document.documentElement).getBoundingClientRect();
    const { bottom, height } = box.getBoundingClientRect();
    const above = button.current!.getBoundingClientRect().top - view.top;
    setTurned(bottom > view.bottom && above > height);
  }, [open]);

  useEffect(() => {
    if (!open) return;
    const all = items(panel.current);
    (
      all.find((item) => item.getAttribute('aria-checked') === 'true') ??
      all[0] ??
      panel.current
    )?.focus();
    const outside = (event: Event): void => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', outside);
    document.addEventListener('focusin', outside);
    return () => {
      document.removeEventListener('pointerdown', outside);
      document.removeEventListener('focusin', outside);
    };
  }, [open]);

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      close();
    } else if (props.role === 'menu' && moveFocus(panel.current, event.key)) {
      event.preventDefault();
    }
  };

  return (
    <div class={`menu ${open ? 'open' : ''}`} ref={box}>
      <button
        type="button"
        ref={button}
        class={props.buttonClass}
        aria-label={props.label}
        aria-haspopup={props.role}
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
      >
        {props.button}
      </button>
      {open && (
        <div
          id={id}
          ref={panel}
          class={`panel ${props.align} ${props.up || turned ? 'up' : ''}`}
          role={props.role}
          aria-label={props.label}
          tabIndex={-1}
          onKeyDown={onKeyDown}
        >
          {props.children(close)}
        </div>
      )}
    </div>
  );
}
