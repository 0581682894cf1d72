// SPDX-License-Identifier: Apache-2.0
// An informer as an npm user writes it; each thing it sees is a line of its output.
// Arguments: URL, authority's certificate, token.
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node';

const [server, caFile, token] = process.argv.slice(2);
const config = new KubeConfig();
config.loadFromOptions({
  clusters: [{ name: 'test', server, caFile }],
  users: [{ name: 'test', token }],
  contexts: [{ name: 'test', cluster: 'test', user: 'test' }],
  currentContext: 'test',
});
const api = config.makeApiClient(CoreV1Api);
const informer = makeInformer(config, '/api/v1/services', () => api.listServiceForAllNamespaces());

for (const verb of ['add', 'update', 'delete']) {
  informer.on(verb, (service) => console.log(`${verb} ${service.metadata.name}`));
}
informer.on('connect', () => console.log('connect'));
informer.on('error', (error) => {
  console.log(`error ${error.code ?? error.message}`);
  setTimeout(() => informer.start(), 100); // as its documentation says
});
informer.start();
