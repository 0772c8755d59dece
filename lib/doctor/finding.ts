/** One thing that was looked at, and what to do about it if it is not as it should be. */
export interface Finding {
  readonly name: string;
  /** `warning`: it works, but not as well as it could; `skipped`: something before it has failed. */
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly what: string;
  /** In words, or as lines of a configuration. */
  readonly remedy?: string | undefined;
}

export function isFailed({ status }: Finding): boolean {
  return status === 'failed';
}
