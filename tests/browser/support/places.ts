// Where the build is, and where pictures go.
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');

function findBuild(): string {
  const given = process.env.NAUTILE_BUILD;
  if (given !== undefined) return resolve(given);
  const known = ['check', 'release'].map((name) => join(root, 'build', name));
  return known.find((folder) => existsSync(join(folder, 'scripted_serve'))) ?? known[0]!;
}

export const buildDir = findBuild();
export const screenshotDir = join(root, 'build', 'screenshots');
mkdirSync(screenshotDir, { recursive: true });

/** The built site: the one that the build embeds, or that `npm run build` made in web/. */
const built = join(buildDir, 'web', 'dist');
export const siteDir = existsSync(built) ? built : join(root, 'web', 'dist');

/** The starter model, as tools/fetch.py keeps it. */
export const starterModel = join(
  process.env.NAUTILE_FETCH_DIR ?? join(root, 'build', 'fetched'),
  'starter',
  'SmolLM2-135M-Instruct.Q4_1.gguf',
);
