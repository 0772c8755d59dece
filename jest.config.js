const transform = {
  '^.+\\.[jt]s$': [
    '@swc/jest',
    { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
  ],
};

/** The quick suite: `npm test`. Two workers, since the tests start real processes. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/__tests__'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: [],
  transform,
  // lib/ is written for nodenext, where an import names the compiled file.
  moduleNameMapper: {
    '^claude-stream$': '<rootDir>/lib/index.ts',
    '^claude-stream/client$': '<rootDir>/lib/client.ts',
    '^claude-stream/redis$': '<rootDir>/lib/redis.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  maxWorkers: 2,
  testTimeout: 15_000,
};
