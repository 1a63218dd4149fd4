//! `otelmesh image` with a real registry, and a client that is not ours.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::{fs, thread};

use flate2::read::GzDecoder;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use otelmesh_e2e::registry::{self, PASSWORD, Registry, USER};
use otelmesh_e2e::tools::{self, otelmesh, refused, run};
use serde_json::Value;
use tempfile::TempDir;

/// The smallest filter that there is.
fn wasm(dir: &TempDir) -> (String, Vec<u8>) {
    let bytes = wat::parse_str(r#"(module (func (export "proxy_abi_version_0_2_1")))"#).unwrap();
    let path = dir.path().join("filter.wasm");
    fs::write(&path, &bytes).unwrap();
    (path.display().to_string(), bytes)
}

/// The manifest, its digest and the layer that a reference leads to.
fn pull(reference: &str, auth: &RegistryAuth) -> (Value, String, Vec<u8>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reference: Reference = reference.parse().unwrap();
    let client = Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let types = ["application/vnd.oci.image.manifest.v1+json"];
        let (bytes, digest) = client.pull_manifest_raw(&reference, auth, &types).await.unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let mut layer = Vec::new();
        let layer_digest = manifest["layers"][0]["digest"].as_str().unwrap();
        client.pull_blob(&reference, layer_digest, &mut layer).await.unwrap();
        (manifest, digest, layer)
    })
}

/// What is in a layer, by name.
fn unpack(layer: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(layer));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    files.collect()
}

#[test]
fn what_was_pushed_is_pulled_back_by_tag_and_by_digest() {
    let dir = tempfile::tempdir().unwrap();
    let (path, module) = wasm(&dir);
    let registry = Registry::open();
    let name = format!("{}/otelmesh/filter", registry.address);
    let printed = run(otelmesh().args(["image", "push", &format!("{name}:1"), "--wasm", &path]));
    let digest = printed.trim().strip_prefix(&format!("{name}:1@")).unwrap();

    for reference in [format!("{name}:1"), format!("{name}@{digest}")] {
        let (manifest, pulled, layer) = pull(&reference, &RegistryAuth::Anonymous);
        assert_eq!(pulled, digest, "{reference}");
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json", "an index would break the pin");
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(unpack(&layer), [("plugin.wasm".to_owned(), module.clone())], "{reference}");
    }
}

#[test]
fn another_client_reads_and_copies_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let (path, module) = wasm(&dir);
    let registry = Registry::open();
    let printed = run(otelmesh().args(["image", "push", &format!("{}/filter", registry.address), "--wasm", &path]));
    let digest = printed.trim().rsplit('@').next().unwrap();

    let image = format!("docker://{}/filter:{}", registry.address, env!("CARGO_PKG_VERSION"));
    let inspected = run(tools::debian("skopeo").args(["inspect", "--tls-verify=false", &image]));
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["Digest"], digest);
    assert_eq!(inspected["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");

    let copy = dir.path().join("copy");
    let by_digest = format!("docker://{}/filter@{digest}", registry.address);
    let options = ["--insecure-policy", "copy", "--src-tls-verify=false"];
    run(tools::debian("skopeo").args(options).args([&by_digest, &format!("dir:{}", copy.display())]));
    let layer = inspected["Layers"][0].as_str().unwrap().strip_prefix("sha256:").unwrap();
    assert_eq!(unpack(&fs::read(copy.join(layer)).unwrap()), [("plugin.wasm".to_owned(), module)]);
}

#[test]
fn a_layout_has_the_digest_that_the_registry_gives_and_other_tools_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = wasm(&dir);
    let (layout, archive) = (dir.path().join("layout"), dir.path().join("image.tar"));
    let (layout, archive) = (layout.to_str().unwrap(), archive.to_str().unwrap());
    let built = run(otelmesh().args(["image", "build", "--wasm", &path, "-o", layout]));
    assert_eq!(run(otelmesh().args(["image", "build", "--wasm", &path, "-o", archive])), built);
    for source in [format!("oci:{layout}"), format!("oci-archive:{archive}")] {
        let inspected: Value = serde_json::from_str(&run(tools::debian("skopeo").args(["inspect", &source]))).unwrap();
        assert_eq!(inspected["Digest"], built.trim(), "{source}");
    }

    let registry = Registry::open();
    let name = format!("{}/filter:1", registry.address);
    let pushed = run(otelmesh().args(["image", "push", &name, "--layout", layout, "-o", "json"]));
    let pushed: Value = serde_json::from_str(&pushed).unwrap();
    assert_eq!(pushed["digest"], built.trim());
    assert_eq!(pushed["reference"], format!("{name}@{}", built.trim()));
}

#[test]
fn a_registry_with_a_password_takes_it_from_docker_login_and_from_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = wasm(&dir);
    let registry = Registry::with_password();
    let name = format!("{}/filter:1", registry.address);
    let config = |text: &str| {
        let home = dir.path().join("docker");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("config.json"), text).unwrap();
        home
    };
    let push = || {
        let mut command = otelmesh();
        command.args(["image", "push", &name, "--wasm", &path]);
        command
    };

    let said = refused(push().env("DOCKER_CONFIG", config("{}")));
    assert!(said.contains(&format!("run `docker login {}`", registry.address)), "{said}");

    // Y2k6d3Jvbmc= is ci:wrong, Y2k6Ymx1ZTpib3g= is ci:blue:box.
    let login = |auth: &str| config(&format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, registry.address));
    let said = refused(push().env("DOCKER_CONFIG", login("Y2k6d3Jvbmc=")));
    assert!(said.contains("are wrong or may not push to filter"), "{said}");
    run(push().env("DOCKER_CONFIG", login("Y2k6Ymx1ZTpib3g=")));

    let mut child = push()
        .env("DOCKER_CONFIG", config("{}"))
        .args(["--username", USER, "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let auth = RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned());
    assert_eq!(pull(&name, &auth).0["layers"].as_array().unwrap().len(), 1);
}

#[test]
fn https_wants_a_certificate_that_this_machine_trusts() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = wasm(&dir);
    let (secure, clear) = (Registry::with_certificate(), Registry::open());
    let push = |registry: &Registry, http: &str| {
        let mut command = otelmesh();
        command.args(["image", "push", &format!("{}/filter:1", registry.address), "--wasm", &path]);
        command.arg(format!("--plain-http={http}"));
        command
    };
    let trusting = |mut command: Command| {
        command.env("SSL_CERT_FILE", secure.certificate());
        command
    };

    let said = run(&mut trusting(push(&secure, "false")));
    assert!(said.starts_with(&secure.address), "{said}");
    let strange = Registry::with_certificate();
    let said = refused(push(&secure, "false").env("SSL_CERT_FILE", strange.certificate()));
    assert!(said.contains("does not trust the certificate"), "{said}");
    let said = refused(&mut trusting(push(&clear, "false")));
    assert!(said.contains("add --plain-http"), "{said}");
    let said = refused(&mut push(&secure, "true"));
    assert!(said.contains("add --plain-http=false"), "{said}");
}

#[test]
fn faults_of_the_network_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = wasm(&dir);
    let nobody = registry::free_address();
    let said = refused(otelmesh().args(["image", "push", &format!("{nobody}/filter:1"), "--wasm", &path]));
    assert!(said.contains("Connection refused") && said.contains(&format!("curl -v http://{nobody}/v2/")), "{said}");

    // Something that listens and is no registry.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    let said = refused(otelmesh().args(["image", "push", &format!("{address}/filter:1"), "--wasm", &path]));
    assert!(said.contains(&format!("is {address} a registry?")), "{said}");
}

#[test]
fn a_registry_that_restarts_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = wasm(&dir);
    let registry = Registry::open();
    // In front of it stands a proxy that answers the first upload as a load balancer does while what is behind restarts.
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let behind = registry.address.clone();
    thread::spawn(move || {
        let mut failed = false;
        for mut client in proxy.incoming().flatten() {
            let mut head = [0; 4096];
            let n = client.read(&mut head).unwrap_or(0);
            if !failed && head.starts_with(b"POST") {
                failed = true;
                let _ = client.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                continue;
            }
            let Ok(mut server) = TcpStream::connect(&behind) else { continue };
            // One request a connection, so that each is seen.
            let end = head[..n].iter().position(|byte| *byte == b'\n').map_or(n, |i| i + 1);
            let _ = server.write_all(&[&head[..end], b"connection: close\r\n", &head[end..n]].concat());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let _ = std::io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        }
    });
    let output = otelmesh().args(["image", "push", &format!("{address}/filter:1"), "--wasm", &path]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("503; trying again in 500ms"), "{said}");
}

#[test]
fn what_is_no_filter_never_leaves_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wasm");
    fs::write(&path, wat::parse_str("(module)").unwrap()).unwrap();
    let said = refused(otelmesh().args(["image", "push", "127.0.0.1:1/filter:1", "--wasm", path.to_str().unwrap()]));
    assert!(said.contains("it does not export proxy_abi_version_0_2_1"), "{said}");
}
