//! HTTP to a port of a pod, through the API server's port-forward: for what listens on the pod's loopback only.

use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::{Cluster, causes};

/// A dump of an Envoy's filters has some KiB for each plugin, all metrics of a collector some hundred.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

// === impl Cluster ===

impl Cluster {
    /// The status and the body that a pod answers to a GET.
    ///
    /// # Errors
    /// In words: the port-forward failed, nobody listens, or the answer is no HTTP or too long.
    pub async fn ask_pod(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
    ) -> Result<(http::StatusCode, Bytes), String> {
        let pods: Api<Pod> = Api::namespaced(self.client().clone(), namespace);
        let mut forward = pods.portforward(pod, &[port]).await.map_err(|e| causes(&e))?;
        let stream = forward.take_stream(port).ok_or("the port was not forwarded")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| causes(&e))?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path).header(http::header::HOST, "localhost").body(Empty::<Bytes>::new());
        let answer = async {
            let response = sender.send_request(request.map_err(|e| e.to_string())?).await.map_err(|e| causes(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?;
            Ok((status, body.to_bytes()))
        }
        .await;
        connection.abort();
        answer
    }
}
