// Before the first paint: theme, language, width of lines. Own origin, since inline scripts are
// forbidden. Keep it under 600 bytes.
(function () {
  var p = {}, d = document.documentElement;
  try { p = JSON.parse(localStorage.getItem('nautile.prefs')) || {}; } catch (e) {}
  var dark = p.theme === 'dark' ||
    (p.theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  d.dataset.theme = dark ? 'dark' : 'light';
  if (p.compact) d.dataset.compact = '';
})();
