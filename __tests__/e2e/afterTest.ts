const open: (() => Promise<unknown> | unknown)[] = [];

/** What a test has started is stopped when it is over, however it ended: the last first. */
export function afterTest(close: () => Promise<unknown> | unknown): void {
  open.push(close);
}

afterEach(async () => {
  const problems: unknown[] = [];
  for (const close of open.splice(0).reverse()) {
    try {
      await close();
    } catch (problem) {
      problems.push(problem);
    }
  }
  if (problems.length > 0) throw problems[0];
});
