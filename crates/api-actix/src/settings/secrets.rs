//! Secrets that the embedded store makes and keeps in its directory, readable by its owner alone.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use adapters_auth::{JwtAccessTokens, random_password, random_secret};
use secrecy::{ExposeSecret as _, SecretString};

/// The file of the secret that signs access tokens.
pub const JWT_SECRET_FILE: &str = "jwt-secret";
/// The file of the demo accounts.
pub const DEMO_ACCOUNTS_FILE: &str = "demo-accounts.toml";

/// How many different bytes a secret must have. 32 random hexadecimal digits have 14 of 16 on average, and fewer than this one time in
/// a hundred million; a repeated word or digit has fewer.
const DISTINCT_BYTES_MIN: usize = 8;

/// Why a text is not a secret that signs access tokens, as the end of a sentence; `None` if it can be one.
pub(crate) fn weakness(secret: &str) -> Option<String> {
    let minimum = JwtAccessTokens::SECRET_LENGTH_MIN;
    if secret.len() < minimum {
        return Some(format!("has {} bytes, but must have at least {minimum}", secret.len()));
    }
    let distinct = secret.bytes().collect::<BTreeSet<_>>().len();
    (distinct < DISTINCT_BYTES_MIN)
        .then(|| format!("has only {distinct} different characters, and could be guessed: it must be random"))
}

/// The passwords with which the demo accounts were created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemoAccounts {
    pub customer_password: String,
    pub admin_password: String,
}

impl DemoAccounts {
    pub const CUSTOMER: &'static str = "customer@demo.example";
    pub const ADMIN: &'static str = "admin@demo.example";

    /// Draws random passwords.
    pub fn draw() -> Self {
        Self { customer_password: random_password(), admin_password: random_password() }
    }

    /// Reads the accounts that are kept in the directory; `None` if there are none.
    pub fn load(directory: &Path) -> std::io::Result<Option<Self>> {
        let path = directory.join(DEMO_ACCOUNTS_FILE);
        let Some(text) = read(&path)? else { return Ok(None) };
        let damaged = |how: &str| {
            let remedy = "restore it, or remove it: then the demo accounts keep their passwords, and no more demo shows are added";
            io_error(ErrorKind::InvalidData, format!("{} {how}: {remedy}", path.display()))
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            // Not the parser's own text: that shows the line, and a password is in it.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            damaged(&format!("is not TOML (line {})", before.matches('\n').count() + 1))
        })?;
        let password = |name: &str| {
            let found = table.get(name).and_then(toml::Value::as_str).map(str::to_owned);
            found.ok_or_else(|| damaged(&format!("has no {name}")))
        };
        Ok(Some(Self {
            customer_password: password("customer_password")?,
            admin_password: password("admin_password")?,
        }))
    }

    /// Keeps the accounts in the directory.
    pub fn keep(&self, directory: &Path) -> std::io::Result<()> {
        let text = format!(
            "# The demo accounts as they were made.\ncustomer = \"{}\"\ncustomer_password = \"{}\"\nadmin = \"{}\"\nadmin_password = \"{}\"\n",
            Self::CUSTOMER,
            self.customer_password,
            Self::ADMIN,
            self.admin_password
        );
        write_private(&directory.join(DEMO_ACCOUNTS_FILE), &text)
    }
}

/// Returns the secret that signs access tokens: the one that is kept in the directory, else a new one.
pub fn jwt_secret(directory: &Path) -> std::io::Result<SecretString> {
    let path = directory.join(JWT_SECRET_FILE);
    if let Some(kept) = read(&path)? {
        let kept = kept.trim();
        return match weakness(kept) {
            None => Ok(kept.to_owned().into()),
            Some(weakness) => {
                let remedy = "remove it, and a new one is made; access tokens end, and clients refresh them";
                Err(io_error(ErrorKind::InvalidData, format!("{} {weakness}: {remedy}", path.display())))
            }
        };
    }
    let secret = random_secret();
    write_private(&path, secret.expose_secret())?;
    Ok(secret)
}

fn io_error(kind: ErrorKind, message: String) -> std::io::Error {
    std::io::Error::new(kind, message)
}

/// Returns the same error, with the name of the file.
fn naming(path: &Path) -> impl Fn(std::io::Error) -> std::io::Error {
    move |error| io_error(error.kind(), format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(naming(path)(error)),
    }
}

/// Writes a file that only its owner reads: whole or not at all, so that a crash leaves no half of a secret.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    write_whole(path, text).map_err(naming(path))
}

fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // A full disk leaves an empty file behind. That it stays is no worse than that.
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;
    std::fs::rename(unfinished, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_kept_for_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let first = jwt_secret(directory.path()).unwrap();
        assert!(first.expose_secret().len() >= 32);
        assert_eq!(jwt_secret(directory.path()).unwrap().expose_secret(), first.expose_secret());
        let accounts = DemoAccounts::draw();
        assert_eq!(DemoAccounts::load(directory.path()).unwrap(), None);
        accounts.keep(directory.path()).unwrap();
        assert_eq!(DemoAccounts::load(directory.path()).unwrap(), Some(accounts));
        #[cfg(unix)]
        for name in [JWT_SECRET_FILE, DEMO_ACCOUNTS_FILE] {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(directory.path().join(name)).unwrap());
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn damaged_files_are_refused_by_name_and_without_their_content() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join(JWT_SECRET_FILE);
        for weak in ["", "too-short", &"0".repeat(64), &"\0".repeat(64)] {
            std::fs::write(&secret, weak).unwrap();
            let error = jwt_secret(directory.path()).unwrap_err().to_string();
            assert!(error.contains(JWT_SECRET_FILE) && error.contains("remove it"), "{error}");
        }
        std::fs::write(&secret, format!("\u{feff}{}\r\n", "0123456789abcdef".repeat(2))).unwrap();
        assert_eq!(jwt_secret(directory.path()).unwrap().expose_secret(), "0123456789abcdef".repeat(2));
        let accounts = directory.path().join(DEMO_ACCOUNTS_FILE);
        for (damaged, said) in [
            ("customer_password = \"Pa55word\"\nadmin_password = \"Pa55word\n", "line 2"),
            ("customer_password = \"Pa55word\"\n", "has no admin_password"),
            ("", "has no customer_password"),
        ] {
            std::fs::write(&accounts, damaged).unwrap();
            let error = DemoAccounts::load(directory.path()).unwrap_err().to_string();
            assert!(error.contains(DEMO_ACCOUNTS_FILE) && error.contains(said), "{error}");
            assert!(!error.contains("Pa55word"), "{error}");
        }
        std::fs::write(&accounts, "\u{feff}customer_password = \"c\"\r\nadmin_password = \"a\"\r\n").unwrap();
        let expected = DemoAccounts { customer_password: "c".into(), admin_password: "a".into() };
        assert_eq!(DemoAccounts::load(directory.path()).unwrap(), Some(expected));
        std::fs::remove_file(&accounts).unwrap();
        std::fs::create_dir(&accounts).unwrap();
        let error = DemoAccounts::load(directory.path()).unwrap_err().to_string();
        assert!(error.contains(DEMO_ACCOUNTS_FILE), "{error}");
    }
}
