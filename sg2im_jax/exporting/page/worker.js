// Runs the model, apart from the page, which stays responsive. Messages: first {runtime, wasm,
// models}, then {number, name, inputs}; answers are {number, outputs} or {number, error}.

let sessions;

async function start({ runtime, wasm, models }) {
  const ort = await import(URL.createObjectURL(new Blob([runtime], { type: 'text/javascript' })));
  Object.assign(ort.env.wasm, { wasmBinary: wasm, numThreads: 1 }); // threads want other headers
  ort.env.logLevel = 'error';
  const entries = await Promise.all(Object.entries(models).map(async ([name, bytes]) => (
    [name, await ort.InferenceSession.create(bytes)])));
  return { ort, byName: Object.fromEntries(entries) };
}

async function run({ name, inputs }) {
  const { ort, byName } = await sessions;
  const tensors = Object.entries(inputs).map(([key, { type, data, dims }]) => (
    [key, new ort.Tensor(type, data, dims)]));
  const found = await byName[name].run(Object.fromEntries(tensors));
  return Object.fromEntries(Object.entries(found).map(([key, { data, dims }]) => (
    [key, { data, dims }])));
}

self.addEventListener('message', async ({ data }) => {
  if (data.runtime) {
    sessions = start(data);
    return;
  }
  try {
    self.postMessage({ number: data.number, outputs: await run(data) });
  } catch (error) {
    self.postMessage({ number: data.number, error: String(error.message ?? error) });
  }
});
