// Runs the unit tests: every src/**/*_test.ts is bundled by esbuild into a scratch folder and given
// to Node's own test runner (works on Node 18.20; no further package).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url).pathname;
const wanted = process.argv.slice(2);

function find(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return find(path);
    return /_test\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

const entries = find(join(root, 'src')).filter(
  (path) => wanted.length === 0 || wanted.some((word) => path.includes(word)),
);
const out = mkdtempSync(join(root, 'node_modules', '.unit-'));
try {
  await build({
    entryPoints: entries,
    outdir: out,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node18',
    outExtension: { '.js': '.mjs' },
    jsx: 'automatic',
    jsxImportSource: 'preact',
    external: ['node:*'],
    define: { NAUTILE_WEB_ROOT: JSON.stringify(root) },
    logLevel: 'error',
  });
  const bundled = readdirSync(out, { recursive: true })
    .map((name) => join(out, String(name)))
    .filter((name) => name.endsWith('_test.mjs'));
  const run = spawnSync(process.execPath, ['--test', '--test-reporter=tap', ...bundled], {
    stdio: 'inherit',
  });
  process.exitCode = run.status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
