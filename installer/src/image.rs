//! `otelmesh image`: the filter as an image that Istio's proxies can pull.
//!
//! In: a filter module. Out: an OCI image layout on disk ([`layout`]), or the same image in a registry ([`push`]), and its
//! digest, which is the same for the same module and version of this command. Refuses what is no filter.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::output::Format;
use crate::wasm;

mod auth;
pub mod layout;
pub mod look;
mod pack;
pub mod push;
mod reference;

pub use auth::{Credentials, CredentialsError};
pub use pack::{Image, LAYER_TYPE, MANIFEST_TYPE, PLUGIN};
pub use reference::{REPOSITORY_LENGTH, ReferenceError, Target};

/// Arguments of `otelmesh image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Write the image to disk, as an OCI image layout
    Build(BuildArgs),
    /// Push the image to a registry
    Push(PushArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
The digest that is printed is what `otelmesh image push` gives the image in any registry.

Examples:
  otelmesh image build -o filter-image
  otelmesh image build --wasm target/otelmesh.wasm -o filter.tar
  skopeo copy oci-archive:filter.tar docker://registry.example.com/otelmesh/filter:1")]
struct BuildArgs {
    /// The filter module [default: $OTELMESH_WASM, else otelmesh.wasm beside this command, else target/otelmesh.wasm]
    #[arg(long, value_name = "PATH")]
    wasm: Option<PathBuf>,
    /// Directory to write; with a name that ends in .tar, an archive of it
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without a tag, the image gets this command's version, which is also what the chart asks for.
Credentials are those of `docker login` (~/.docker/config.json and its helpers) unless given.

Examples:
  otelmesh image push registry.example.com/otelmesh/filter
  otelmesh image push localhost:5000/otelmesh/filter:test --wasm target/otelmesh.wasm
  echo \"$TOKEN\" | otelmesh image push registry.example.com/team/filter:1 --username ci --password-stdin
  digest=$(otelmesh image push registry.example.com/otelmesh/filter | sed 's/.*@//')
  otelmesh render --set filter.image.registry=registry.example.com,filter.image.digest=$digest")]
struct PushArgs {
    /// Where to, as REGISTRY/REPOSITORY[:TAG]
    #[arg(value_name = "REF")]
    target: String,
    /// The filter module [default: $OTELMESH_WASM, else otelmesh.wasm beside this command, else target/otelmesh.wasm]
    #[arg(long, value_name = "PATH", conflicts_with = "layout")]
    wasm: Option<PathBuf>,
    /// Push what `otelmesh image build` wrote to this directory, instead of packing a module
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// User to log in as
    #[arg(long, requires = "password_stdin")]
    username: Option<String>,
    /// Read the password or token from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Speak HTTP to the registry instead of HTTPS [default: only where it is on this machine]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    plain_http: Option<bool>,
    /// What to print: REF@DIGEST, or a JSON object
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

// === impl ImageArgs ===

impl ImageArgs {
    /// Runs the command.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            ImageCommand::Build(args) => args.run()?,
            ImageCommand::Push(args) => args.run()?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl BuildArgs {
    fn run(self) -> Result<()> {
        let image = pack(self.wasm)?;
        if self.output.extension().is_some_and(|extension| extension == "tar") {
            layout::write_archive(&image, &self.output)?;
        } else {
            layout::write(&image, &self.output)?;
        }
        eprintln!("wrote {}, layer {}", self.output.display(), size(image.layer.len()));
        writeln!(io::stdout(), "{}", image.digest)?;
        Ok(())
    }
}

impl PushArgs {
    fn run(self) -> Result<()> {
        let target = Target::parse(&self.target)?;
        let image = match &self.layout {
            Some(dir) => layout::read(dir)?,
            None => pack(self.wasm)?,
        };
        let credentials = match self.username {
            Some(username) => {
                let mut password = String::new();
                io::stdin().read_to_string(&mut password).context("cannot read the password from standard input")?;
                let password = password.trim_end_matches(['\r', '\n']).to_owned();
                if password.is_empty() {
                    bail!("--password-stdin found nothing on standard input; pipe the password or token into it");
                }
                Credentials::Basic(username, password)
            }
            None => Credentials::from_docker(&target.registry)?,
        };
        let plain_http = self.plain_http.unwrap_or_else(|| target.is_loopback());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(push::push(&image, &target, &credentials, plain_http, &mut |line| eprintln!("{line}")))?;
        let reference = format!("{target}@{}", image.digest);
        let document = json!({
            "registry": target.registry, "repository": target.repository, "tag": target.tag,
            "digest": image.digest, "reference": reference,
        });
        self.output.print(&format!("{reference}\n"), &document)?;
        Ok(())
    }
}

fn pack(wasm: Option<PathBuf>) -> Result<Image> {
    let path = wasm::find(wasm.as_deref())?;
    let module = wasm::load(&path)?;
    eprintln!("packing {}, {}", path.display(), size(module.len()));
    Ok(Image::pack(&module)?)
}

/// A size as people read it.
fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}
