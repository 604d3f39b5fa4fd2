// Loaded before a program (node --import): says on stdout what the program asks for and gets, a line of JSON each.
const ask = globalThis.fetch;
globalThis.fetch = async (...asked) => {
  const request = new Request(...asked);
  const response = await ask(request);
  const body = await response.clone().text();
  console.log(JSON.stringify({ method: request.method, url: request.url, status: response.status, body }));
  return response;
};
