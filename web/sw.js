// The service worker: keeps the shell and the hashed assets, never an answer, a picture or a reply
// of the API. The shell comes from the network if that answers within 2 s. A new version is used
// at the next opening. vite.config.ts fills in the two names.
const files = __FILES__;
const name = `nautile ${__VERSION__}`;
const shellWaitMs = 2000;

self.addEventListener('install', (event) => {
  const shell = ['/', '/boot.js', '/icon.svg', '/manifest.webmanifest', ...files];
  event.waitUntil(caches.open(name).then((cache) => cache.addAll(shell)));
});

self.addEventListener('activate', (event) => {
  const old = (keys) => Promise.all(keys.filter((k) => k !== name).map((k) => caches.delete(k)));
  event.waitUntil(caches.keys().then(old));
});

async function asset(request) {
  const cache = await caches.open(name);
  const known = await cache.match(request);
  if (known) return known;
  const fresh = await fetch(request);
  if (fresh.ok) await cache.put(request, fresh.clone());
  return fresh;
}

async function shell(request) {
  const network = fetch(request).then(async (fresh) => {
    const copy = fresh.clone();
    if (fresh.ok) await (await caches.open(name)).put('/', copy);
    return fresh;
  });
  const kept = (await caches.open(name)).match('/');
  const late = new Promise((resolve) => setTimeout(resolve, shellWaitMs)).then(() => kept);
  try {
    return (await Promise.race([network, late])) ?? (await network);
  } catch {
    return (await kept) ?? Response.error();
  }
}

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== self.location.origin) return;
  if (request.mode === 'navigate') event.respondWith(shell(request));
  else if (/^\/assets\/|^\/(?:boot\.js|icon\.svg|manifest\.webmanifest)$/.test(url.pathname)) {
    event.respondWith(asset(request));
  }
});
