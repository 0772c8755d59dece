/** A kind of proxy that the headers of a response give away, and how one mends it. */
export interface Hop {
  readonly name: string;
  /** Stops it from holding a stream back. */
  readonly buffering: string;
  readonly compression: string;
  /** Lets a connection be silent for longer. */
  readonly idle: string;
}

type Headers = Readonly<Record<string, string>>;

const nginx: Hop = {
  name: 'nginx',
  buffering:
    'proxy_buffering off;                    # in the location, of every nginx on the way\n' +
    'proxy_pass_header X-Accel-Buffering;    # or, in the inner of two: the outer one then sees it, too',
  compression: 'gzip off;    # in the location; or take text/event-stream out of gzip_types',
  idle: 'proxy_read_timeout 1h;',
};

const hops: readonly {
  readonly is: (headers: Headers) => boolean;
  readonly hop: Hop;
  /** Whether it never stands behind another: then it is the nearest. */
  readonly isOutermost?: boolean;
}[] = [
  {
    is: ({ server = '', 'cf-ray': ray }) => ray !== undefined || /cloudflare/i.test(server),
    isOutermost: true,
    hop: {
      name: 'Cloudflare',
      buffering:
        'Cloudflare itself does not hold event streams back: look at the hop behind it, and turn off any Worker or rule that rewrites the body.',
      compression: 'A rule under Rules → Compression with compression off for this path.',
      idle: 'Cloudflare cuts after 100 s without a byte (error 524), which no setting changes below Enterprise: keep keepAlive well below that.',
    },
  },
  {
    is: ({ 'x-amz-cf-id': id, via = '' }) => id !== undefined || /cloudfront/i.test(via),
    isOutermost: true,
    hop: {
      name: 'CloudFront',
      buffering: 'Use a cache behaviour with the policy CachingDisabled for this path.',
      compression: 'Compress objects automatically: No    # in the cache behaviour',
      idle: 'Origin response timeout: 60    # in the origin; the default is 30 s',
    },
  },
  {
    is: ({ via = '', server = '' }) => /caddy/i.test(via) || /caddy/i.test(server),
    hop: {
      name: 'Caddy',
      buffering:
        'Take buffer_responses and response_buffers out of reverse_proxy: Caddy itself passes an event stream on at once.',
      compression: '@compressed not path /chat* /probe*\nencode @compressed gzip',
      idle: 'transport http {\n  read_timeout 1h\n}    # in reverse_proxy',
    },
  },
  { is: ({ server = '' }) => /nginx|openresty/i.test(server), hop: nginx },
  {
    is: ({ server = '' }) => /apache/i.test(server),
    hop: {
      name: 'Apache',
      buffering: 'ProxyPass / http://127.0.0.1:3000/ flushpackets=on',
      compression: 'SetEnvIf Request_URI "^/chat" no-gzip=1',
      idle: 'ProxyTimeout 3600',
    },
  },
  {
    is: ({ via = '', 'x-varnish': varnish }) => varnish !== undefined || /varnish/i.test(via),
    hop: {
      name: 'Varnish',
      buffering:
        'set beresp.do_stream = true;    # in vcl_backend_response; and return (pass) in vcl_recv',
      compression: 'set beresp.do_gzip = false;    # in vcl_backend_response',
      idle: '.between_bytes_timeout = 1h;    # in the backend',
    },
  },
  {
    is: ({ via = '' }) => /vegur|heroku/i.test(via),
    hop: {
      name: 'Heroku',
      buffering: 'The router of Heroku does not hold streams back: look at the hop behind it.',
      compression: 'The router of Heroku does not compress: look at the application.',
      idle: 'The router cuts after 55 s without a byte, which no setting changes: keep keepAlive well below that.',
    },
  },
];

const unknown: Hop = {
  name: 'a hop that does not say what it is',
  buffering:
    'Find the hop: run the doctor with the URL of each, from the application outwards. Then turn off its buffering of responses; for nginx that is:\nproxy_buffering off;',
  compression:
    "Take text/event-stream out of what is compressed. In the application: a middleware must not remove 'no-transform' from Cache-Control.",
  idle: 'Raise its timeout for connections without traffic, or set keepAlive well below it.',
};

/**
 * The hop that the client talks to, as far as the headers tell. One passes on what another has written, and which of two
 * is the nearer they do not tell: then it is either.
 */
export function hopOf(headers: Headers): Hop {
  const named = hops.filter(({ is }) => is(headers));
  const outermost = named.filter(({ isOutermost }) => isOutermost);
  const found = (outermost.length > 0 ? outermost : named).map(({ hop }) => hop);
  if (found.length === 0) return unknown;
  const all = (field: keyof Hop, separator: string) =>
    found.map((hop) => hop[field]).join(separator);
  return {
    name: all('name', ' or '),
    buffering: all('buffering', '\n'),
    compression: all('compression', '\n'),
    idle: all('idle', '\n'),
  };
}
