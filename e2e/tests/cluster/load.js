// Requests one after the other from each of VUS clients for DURATION, to TARGET; k6's own figures as JSON.
import http from 'k6/http';

export const options = {
  vus: Number(__ENV.VUS),
  duration: __ENV.DURATION,
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(99)'],
};

export default function () {
  http.get(__ENV.TARGET);
}

export function handleSummary(data) {
  const values = (name) => data.metrics[name].values;
  return {
    stdout: JSON.stringify({
      requests: values('http_reqs').count,
      rate: values('http_reqs').rate,
      failed: values('http_req_failed').passes,
      median: values('http_req_duration').med,
      p99: values('http_req_duration')['p(99)'],
    }),
  };
}
