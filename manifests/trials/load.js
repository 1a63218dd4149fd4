// Load on the collector: spans over OTLP/HTTP, more of them from stage to stage, and what must hold while they come.
//
// Every request has a trace id of its own: one constant id would end up in one gateway, and one decision of a sampler.
// ENDPOINT is the collector's address, PEAK the requests a second at the top, STAGE how long each stage lasts, TOKEN a
// bearer token where one is asked for, PATIENCE how many seconds a collector that was only just installed may take to begin.
import http from 'k6/http';
import { check, sleep } from 'k6';

const peak = Number(__ENV.PEAK || 200);
const stage = __ENV.STAGE || '1m';
const spans = 10;

const patience = Number(__ENV.PATIENCE || 60);

export const options = {
  setupTimeout: `${patience + 60}s`,
  scenarios: {
    exports: {
      executor: 'ramping-arrival-rate',
      startRate: 1,
      timeUnit: '1s',
      // As many as wait at once while answers take what the thresholds allow; k6 drops requests while it makes more.
      preAllocatedVUs: Math.max(10, Math.ceil(peak / 2)),
      maxVUs: Math.max(10, peak),
      stages: [
        { target: Math.ceil(peak / 4), duration: stage },
        { target: peak, duration: stage },
        { target: peak, duration: stage },
        { target: 0, duration: stage },
      ],
    },
  },
  thresholds: {
    // Of the scenario alone, without what setup asks.
    'http_req_failed{scenario:exports}': ['rate<0.01'],
    'http_req_duration{scenario:exports}': ['p(95)<500', 'p(99)<1000'],
    checks: ['rate>0.99'],
    dropped_iterations: ['count<10'],
  },
};

const hex = (digits) => {
  let text = '';
  while (text.length < digits) {
    text += Math.floor((1 + Math.random()) * 0x10000).toString(16).slice(1);
  }
  return text.slice(0, digits);
};

const batch = () => {
  const traceId = hex(32);
  const root = hex(16);
  const now = Date.now();
  return {
    resourceSpans: [{
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'otelmesh-load' } }] },
      scopeSpans: [{
        spans: Array.from({ length: spans }, (_, i) => ({
          traceId,
          spanId: i === 0 ? root : hex(16),
          parentSpanId: i === 0 ? '' : root,
          name: `load ${i}`,
          kind: 2,
          startTimeUnixNano: `${now - 10 - i}000000`,
          endTimeUnixNano: `${now}000000`,
        })),
      }],
    }],
  };
};

const headers = { 'Content-Type': 'application/json' };
if (__ENV.TOKEN) {
  headers.Authorization = `Bearer ${__ENV.TOKEN}`;
}

// The job is there as soon as the collector's pods are, and those need seconds. Whatever it answers, it is there; where it
// never answers, the thresholds tell.
export function setup() {
  for (let waited = 0; waited < patience && http.get(__ENV.ENDPOINT).status === 0; waited += 1) {
    sleep(1);
  }
}

export default function () {
  const reply = http.post(`${__ENV.ENDPOINT}/v1/traces`, JSON.stringify(batch()), { headers });
  check(reply, {
    'is taken': (r) => r.status === 200,
    'is taken whole': (r) => r.status === 200 && !(r.json('partialSuccess.rejectedSpans') > 0),
  });
}
