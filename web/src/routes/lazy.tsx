/** A page that is fetched when it is first opened: most visits never need it. */
import { signal } from '@preact/signals';
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';

export function lazy(load: () => Promise<FunctionComponent>): FunctionComponent {
  const page = signal<FunctionComponent | null>(null);
  let asked = false;
  return function Lazy() {
    useEffect(() => {
      if (asked) return;
      asked = true;
      // A chunk that is gone reloads the page (main.tsx); without a connection the next visit asks.
      load().then(
        (component) => (page.value = component),
        () => (asked = false),
      );
    }, []);
    const Page = page.value;
    return Page === null ? <main class="settings" aria-busy="true" /> : <Page />;
  };
}
