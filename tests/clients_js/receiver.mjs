// A server on this machine that takes webhooks and shows them as they came.
import { createServer } from "node:http";

export const receiving = async () => {
  const received = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    received.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
    response.end("thanks");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const wait = async (count) => {
    while (received.length < count) await new Promise((resolve) => setTimeout(resolve, 20));
    return received;
  };
  return { url: `http://127.0.0.1:${server.address().port}/hook`, wait };
};
