// What the server does, as functions. A page without a server has the same of its own.

export class ApiError extends Error {}

export const hasLanguage = true; // parse and complete
export const hasAnimation = true;
export const warmUp = null; // the server has done that

const MOST_TRIES = 5;

async function call(path, body) {
  for (let tries = 1; ; tries++) {
    let response;
    try {
      response = await fetch(path, body === undefined ? {} : {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      });
    } catch {
      throw new ApiError('the studio does not answer; is it still running?');
    }
    if (response.status === 503 && tries < MOST_TRIES) {
      const seconds = Number(response.headers.get('Retry-After')) || 1;
      await new Promise((done) => setTimeout(done, 1000 * seconds));
      continue;
    }
    if (response.ok) return response;
    const answer = await response.json().catch(() => ({}));
    throw new ApiError(answer.error ?? `the studio answered ${response.status}`);
  }
}

const json = async (path, body) => (await call(path, body)).json();
const named = (values) => new URLSearchParams(values);

export const model = () => json('/api/model');
export const examples = async () => (await json('/api/examples')).examples;
export const realScenes = async () => (await json('/api/scenes')).scenes;
export const generate = (request) => json('/api/generate', request);
export const encode = (picture, boxes) => json('/api/encode', { picture, boxes });
export const parse = (text) => json('/api/text', { text });
export const complete = (graph, objects, seed) =>
  json('/api/complete', { graph, objects, seed });
export const relations = async (subject, object) =>
  (await json(`/api/relations?${named({ subject, object })}`)).predicates;
export const animation = async (pictures, milliseconds) =>
  (await call('/api/animation', { pictures, milliseconds })).blob();
export const exampleUrl = (index) => `/api/objects/${index}.png`;
