import { diagnosePath, diagnoseSilence, isProbe } from './diagnosePath.js';
import type { Finding } from './finding.js';
import { measureSilence } from './measureSilence.js';
import { type Measurement, probePath } from './probePath.js';

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
  let measurement: Measurement;
  try {
    measurement = await probePath(url, { headers });
  } catch (error) {
    return [unreachable(url, error)];
  }
  const findings = diagnosePath(measurement);
  if (silence === undefined || !isProbe(measurement)) return findings;
  const measured = await measureSilence(url, silence, headers);
  return [...findings, diagnoseSilence(measured, silence, measurement.headers)];
}

function unreachable(url: string, error: unknown): Finding {
  const { message, code = '', cause } = error as Partial<NodeJS.ErrnoException>;
  return {
    name: 'reachable',
    status: 'failed',
    what: `${url} cannot be reached: ${message || code || String(cause ?? error)}`,
    remedy: remedyFor(code),
  };
}

function remedyFor(code: string): string {
  if (code === 'CERT_HAS_EXPIRED') return 'Renew the certificate of the hop that answers.';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'Give a name that the certificate is for.';
  if (/SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY)/.test(code)) {
    return 'NODE_EXTRA_CA_CERTS=/path/to/ca.pem npx claude-stream doctor …    # who has signed the certificate';
  }
  if (code === 'EPROTO' || code === 'ERR_SSL_WRONG_VERSION_NUMBER') {
    return 'What answers there speaks no TLS: give the URL with http://.';
  }
  return 'Is the server running, and is it the right URL?';
}
