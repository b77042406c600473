// The tests' browser, one page at a time: see measure.spec.ts.
import tests from '../../tests/browser/playwright.config';

export default {
  ...tests,
  testDir: '.',
  workers: 1,
  fullyParallel: false,
  timeout: 600_000,
  reporter: [['dot']],
};
