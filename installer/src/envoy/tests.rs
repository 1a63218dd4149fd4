use serde_json::json;

use super::*;

#[tokio::test]
async fn a_program_that_ends_early_is_reported_with_the_end_of_its_log() {
    // A shell refuses Envoy's options, as Envoy refuses a broken bootstrap: with words and an exit code.
    let error = Envoy::start(Path::new("/bin/sh"), "frontend", &json!({}), &Options::default()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("frontend's Envoy has ended (exit status: 2)"), "{text}");
    assert!(text.contains("option"), "{text}");
}

#[tokio::test]
async fn a_missing_binary_is_named() {
    let error = Envoy::start(Path::new("/absent"), "frontend", &json!({}), &Options::default()).await.unwrap_err();
    assert!(error.to_string().contains("cannot run /absent"), "{error}");
}
