import { diagnosePath, diagnoseSilence, isProbe } from './diagnosePath.js';
import type { Finding } from './finding.js';
import { measureSilence } from './measureSilence.js';
import { probePath } from './probePath.js';

export interface PathOptions {
  /** The longest silence that is tried, in ms; without it none is. */
  readonly silence?: number | undefined;
  /** Headers of the requests, for a probe that not everybody may see. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** What the hops between here and the probe at a URL do to a stream. */
export async function checkPath(
  url: string,
  { silence, headers }: PathOptions = {},
): Promise<Finding[]> {
  try {
    const measurement = await probePath(url, { headers });
    const findings = diagnosePath(measurement);
    if (silence === undefined || !isProbe(measurement)) return findings;
    const limit = await measureSilence(url, silence, headers);
    return [...findings, diagnoseSilence(limit, silence, measurement.headers)];
  } catch (error) {
    const cause =
      error instanceof Error ? error.message || String(error.cause ?? error.name) : error;
    return [
      {
        name: 'reachable',
        status: 'failed',
        what: `${url} cannot be reached: ${cause}`,
        remedy: 'Is the server running, and is it the right URL?',
      },
    ];
  }
}
