import quick from './jest.config.js';

/** End to end: the real CLI in two versions, nginx, Caddy and npm clients. One worker, since they time things. */
export default {
  ...quick,
  testMatch: ['**/*.e2e.ts'],
  globalSetup: '<rootDir>/__tests__/e2e/installPeers.js',
  maxWorkers: 1,
  testTimeout: 60_000,
};
