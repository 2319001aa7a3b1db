// A stock gRPC client that finds services by xDS: @grpc/grpc-js with @grpc/grpc-js-xds, with no generated code.
// Commands and answers are those of client.py.
'use strict';

const readline = require('node:readline');
const { setTimeout: pause } = require('node:timers/promises');
const grpc = require('@grpc/grpc-js');
require('@grpc/grpc-js-xds').register();

const clients = new Map();

function client(service) {
  if (!clients.has(service)) {
    clients.set(service, new grpc.Client(`xds:///${service}`, grpc.credentials.createInsecure()));
  }
  return clients.get(service);
}

// A WorkRequest: its first field is how long the work takes.
function request(work) {
  const bytes = [0x08];
  for (; work >= 128; work = Math.floor(work / 128)) {
    bytes.push((work % 128) + 128);
  }
  return Buffer.from([...bytes, work]);
}

// What came of calls.
class Tally {
  constructor() {
    this.clear();
  }

  clear() {
    this.by = {};
    this.errors = [];
    this.begun = performance.now();
  }

  answer() {
    const { by, errors, begun } = this;
    this.clear();
    return { by, errors, millis: Math.round(performance.now() - begun) };
  }

  call(service, seconds = 30, wait = false, work = 0) {
    const same = (bytes) => bytes;
    const metadata = new grpc.Metadata({ waitForReady: wait });
    const options = { deadline: Date.now() + seconds * 1000 };
    return new Promise((resolve) => {
      const done = (error, answer) => {
        if (error) {
          this.errors.push(`${grpc.status[error.code]}: ${error.details}`);
        } else {
          // Field 1 of a WorkResponse, its first, and shorter than 128 bytes.
          const instance = answer.subarray(2, 2 + answer[1]).toString();
          this.by[instance] = (this.by[instance] ?? 0) + 1;
        }
        resolve();
      };
      const path = '/quaestor.demo.DemoWorker/Work';
      client(service).makeUnaryRequest(path, same, same, request(work), metadata, options, done);
    });
  }
}

const background = new Tally();

async function withoutEnd(service) {
  for (;;) {
    await background.call(service);
    await pause(2);
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    let answer;
    if (command.do === 'calls') {
      const tally = new Tally();
      for (let i = 0; i < command.count; i += 1) {
        await tally.call(command.service, command.seconds, command.wait, command.work);
      }
      answer = tally.answer();
    } else {
      if (command.do === 'begin') {
        withoutEnd(command.service);
        withoutEnd(command.service);
      }
      answer = background.answer();
    }
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}

main();
