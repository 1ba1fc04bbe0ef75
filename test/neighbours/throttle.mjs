/**
 * Preloaded into the embedded DynamoDB: writes to the table `inbox` for the tenant in NEIGHBOURS_THROTTLED are throttled, as
 * DynamoDB throttles a partition that is too hot, and those of everybody else pass. Plain JavaScript, because it runs inside
 * that process; the other processes of Shoal preload it, too, and are left alone.
 */
import { Server } from 'node:http';
import { PassThrough } from 'node:stream';

const tenant = process.env['NEIGHBOURS_THROTTLED'];

if (tenant !== undefined && process.argv[1]?.endsWith('dynamodb.js')) {
  const { emit } = Server.prototype;
  Server.prototype.emit = function (event, ...args) {
    const [request, response] = args;
    if (event !== 'request' || !/BatchWriteItem$/.test(String(request.headers['x-amz-target'])))
      return emit.call(this, event, ...args);
    void serve(request, response, (whole) => emit.call(this, event, whole, response));
    return true;
  };
}

async function serve(request, response, pass) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = JSON.parse(String(Buffer.concat(chunks)));
  const refused = {};
  for (const [table, writes] of Object.entries(body.RequestItems)) {
    if (!table.endsWith('inbox')) continue;
    const isHot = (write) => JSON.stringify(write).includes(tenant);
    refused[table] = writes.filter(isHot);
    body.RequestItems[table] = writes.filter((write) => !isHot(write));
    if (refused[table].length === 0) delete refused[table];
    if (body.RequestItems[table].length === 0) delete body.RequestItems[table];
  }
  if (Object.keys(body.RequestItems).length === 0) {
    const type = 'com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException';
    return answer(response, 400, { __type: type, message: 'the partition is too hot' });
  }
  if (Object.keys(refused).length > 0) {
    // What passes is answered by the engine, and what does not is added to its answer.
    const { end } = response;
    response.end = function (text, ...rest) {
      const said = JSON.parse(String(text));
      const left = { ...said, UnprocessedItems: { ...said.UnprocessedItems, ...refused } };
      const bytes = Buffer.from(JSON.stringify(left));
      this.setHeader('Content-Length', bytes.length);
      this.removeHeader('x-amz-crc32');
      return end.call(this, bytes, ...rest);
    };
  }
  const { method, url, headers, httpVersion, socket } = request;
  const whole = Object.assign(new PassThrough(), { method, url, headers, httpVersion, socket, connection: socket });
  whole.end(JSON.stringify(body));
  pass(whole);
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/x-amz-json-1.0' });
  response.end(JSON.stringify(body));
}
