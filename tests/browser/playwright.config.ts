// The journeys run in Debian's own Chromium against servers that they start themselves.
import { defineConfig } from '@playwright/test';
import { buildDir } from './support/places';

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export default defineConfig({
  testDir: '.',
  testMatch: '*.spec.ts',
  outputDir: `${buildDir}/browser-results`,
  workers: 2,
  retries: 0,
  fullyParallel: true,
  // Generous, for machines that do other things too; nothing waits for these when all is well.
  timeout: 300_000,
  expect: { timeout: 60_000 },
  reporter: [['line']],
  use: {
    locale: 'en-US',
    viewport: { width: 1280, height: 800 },
    serviceWorkers: 'block',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.NAUTILE_CHROMIUM ?? '/usr/bin/chromium',
      args: flags,
      env: { ...process.env, CHROMIUM_FLAGS: '' } as Record<string, string>,
    },
  },
});
