// The provider of the tests: panva's oidc-provider, certified by the OpenID Foundation, with its pages for development.
//
//   node provider.mjs FOLDER OPTIONS
//
// FOLDER has node_modules, OPTIONS is JSON. It prints its issuer, and ends when its standard input does. Beside the provider it answers
// /test/rotate (from now on it signs with another key) and /test/counts (how often what was asked for).
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

const [folder, text] = process.argv.slice(2);
const options = JSON.parse(text);
const { default: Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);

const REDIRECT_URI = 'https://texting.example.edu/console/oidc/callback';
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA', 'Ed25519'];

let generation = 0;

function keys() {
  generation += 1;
  const key = (name, type, parameters) => ({
    ...generateKeyPairSync(type, parameters).privateKey.export({ format: 'jwk' }),
    kid: `${name}-${generation}`,
    use: 'sig',
  });
  return [
    key('rsa', 'rsa', { modulusLength: 2048 }),
    key('p256', 'ec', { namedCurve: 'P-256' }),
    key('p384', 'ec', { namedCurve: 'P-384' }),
    key('ed25519', 'ed25519'),
  ];
}

const client = (id, more) => ({
  client_id: id,
  client_secret: options.secret,
  redirect_uris: [REDIRECT_URI],
  token_endpoint_auth_method: options.methods[0],
  ...more,
});

function provider(issuer) {
  const made = new Provider(issuer, {
    clients: [
      client('roster:1'),
      client('public', { client_secret: undefined, token_endpoint_auth_method: 'none' }),
      ...ALGORITHMS.map((alg) => client(`signed-${alg}`, { id_token_signed_response_alg: alg })),
    ],
    clientAuthMethods: [...options.methods, 'none'],
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    conformIdTokenClaims: options.conform,
    jwks: { keys: keys() },
    cookies: { keys: ['a key for cookies'] },
    ttl: { IdToken: 120, AccessToken: 120, AuthorizationCode: 60, Interaction: 600, Session: 600, Grant: 600 },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'] },
    // Whom the form names, there is.
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        ...(id.includes('@') && { email: id, email_verified: !id.startsWith('unverified') }),
        preferred_username: id.split('@')[0],
      }),
    }),
  });
  made.on('server_error', (_, error) => console.error(error));
  return made.callback();
}

const counts = {};
let answer;
const server = createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/test/rotate') {
    answer = provider(issuer);
    response.end('{}');
  } else if (path === '/test/counts') {
    response.end(JSON.stringify(counts));
  } else {
    counts[path] = (counts[path] ?? 0) + 1;
    answer(request, response);
  }
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
answer = provider(issuer);
console.log(issuer);
process.stdin.on('end', () => process.exit(0)).resume();
