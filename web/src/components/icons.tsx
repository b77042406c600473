/** The few drawings of the page, 20 × 20 strokes in the colour of the text around them. */
const paths = {
  menu: 'M3 5.5h14M3 10h14M3 14.5h14',
  sidebar: 'M3 4h14v12H3zM8 4v12',
  plus: 'M10 4v12M4 10h12',
  search: 'M9 3.5a5.5 5.5 0 1 1 0 11 5.5 5.5 0 0 1 0-11ZM13 13l4 4',
  gear:
    'M10 7.2a2.8 2.8 0 1 1 0 5.6 2.8 2.8 0 0 1 0-5.6ZM10 2.5v2M10 15.5v2M2.5 10h2M15.5 10h2' +
    'M4.7 4.7l1.4 1.4M13.9 13.9l1.4 1.4M4.7 15.3l1.4-1.4M13.9 6.1l1.4-1.4',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  check: 'M4 10.5l4 4 8-9',
  again: 'M15.5 6.5A6.5 6.5 0 1 0 16.5 10M16 3v4h-4',
  edit: 'M4 16l.8-3.4L13 4.4l2.6 2.6-8.2 8.2L4 16ZM11.5 6l2.6 2.6',
  trash: 'M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6M8.7 9v4.5M11.3 9v4.5',
  left: 'M12 5l-5 5 5 5',
  right: 'M8 5l5 5-5 5',
  down: 'M5 8l5 5 5-5',
  up: 'M10 16V5M5 9.5l5-5 5 5',
  stop: 'M6 6h8v8H6z',
  close: 'M5 5l10 10M15 5L5 15',
  wrap: 'M3 5h14M3 10h11a2.5 2.5 0 0 1 0 5h-3M12.5 13L10 15l2.5 2M3 15h3',
  save: 'M10 3v9M6 8.5l4 4 4-4M4 16h12',
  think: 'M10 3a5 5 0 0 0-3 9v2h6v-2a5 5 0 0 0-3-9ZM8 17h4',
  dots: 'M5 10h.01M10 10h.01M15 10h.01',
  picture: 'M3 4h14v12H3zM3 13l4-4 3.5 3.5L13 10l4 4M13 7.5h.01',
  back: 'M16 10H4M9 5l-5 5 5 5',
};

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class={`icon icon-${name}`} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

const hull =
  'M2 13c0-3.9 3.6-6.5 8-6.5V4.6c0-.9.7-1.6 1.6-1.6h2.8c.9 0 1.6.7 1.6 1.6v2.2' +
  'c3.5.8 6 3.2 6 6.2 0 3.9-4.5 6.5-10 6.5S2 16.9 2 13Z';

/** The boat with its one porthole: the lamp, which breathes while the machine works for you. */
export function Logo({ working = false }: { working?: boolean }) {
  return (
    <svg class={working ? 'logo working' : 'logo'} viewBox="0 0 24 24" aria-hidden="true">
      <path d={hull} />
      <circle cx="15" cy="13" r="3" />
    </svg>
  );
}
