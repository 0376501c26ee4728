//! A Postgres of one's own.
//!
//! [`shared`] is one server for all tests of a process, each with a fresh database in it: [`Server::database`].
//! [`Server::start`] is for a test that kills or stops it.

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crate::{
    Folder, free_port,
    tls::Identity,
    watched::{Account, Watched, find, until},
};

/// The superuser of the server; every local connection is trusted.
pub const USER: &str = "postgres";

/// Settings of every server here. `max_connections`: tests run in parallel, each with a pool.
const SETTINGS: [(&str, &str); 6] = [
    ("max_connections", "300"),
    ("listen_addresses", "127.0.0.1"),
    ("shared_buffers", "64MB"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// A running server; dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Server {
    running: Watched,
    folder: Folder,
    binaries: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    databases: AtomicU32,
    /// Templates that exist, by name.
    templates: Mutex<Vec<String>>,
}

/// One server for all tests of this process. Its writes are not flushed to the disk: a test about lost power or killed
/// servers starts its own.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| {
        Server::with(&[("fsync", "off"), ("full_page_writes", "off"), ("autovacuum", "off"), ("max_wal_size", "512MB")])
    })
}

impl Server {
    /// With Postgres's defaults where durability is concerned.
    ///
    /// # Panics
    /// When Postgres is not installed or does not start; says why.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With further settings of `postgresql.conf`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::launched(settings, &[])
    }

    /// A server that speaks TLS, shows this certificate, and admits by TCP whom `hba` (lines of `pg_hba.conf`) admits;
    /// client certificates are held against `client_authority_pem`.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn with_tls(identity: &Identity, client_authority_pem: &str, hba: &str) -> Self {
        let settings = [
            ("ssl", "on"),
            ("ssl_cert_file", "server.pem"),
            ("ssl_key_file", "server.key"),
            ("ssl_ca_file", "clients.pem"),
        ];
        let files = [
            ("server.pem", identity.certificate_pem.as_str()),
            ("server.key", &identity.private_key_pem),
            ("clients.pem", client_authority_pem),
            ("pg_hba.conf", &format!("{hba}\nlocal all all trust\n")),
        ];
        Self::launched(&settings, &files)
    }

    /// `files` stand beside the data before the server starts, readable by it alone.
    fn launched(settings: &[(&str, &str)], files: &[(&str, &str)]) -> Self {
        let binaries = binaries();
        let folder = Folder::new("postgres");
        let account = account();
        if let Some(Account { uid, gid }) = account {
            chown(folder.path(), Some(uid), Some(gid)).expect("the folder can be given to the account of Postgres");
        }
        init(&binaries, folder.path(), account);
        for (name, text) in files {
            let path = folder.join("data").join(name);
            std::fs::write(&path, text).expect("the data's folder can be written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions can be set");
            if let Some(Account { uid, gid }) = account {
                chown(&path, Some(uid), Some(gid)).expect("a file can be given to the account of Postgres");
            }
        }
        let settings: Vec<_> = SETTINGS.iter().chain(settings).map(|(k, v)| ((*k).into(), (*v).into())).collect();
        for _ in 0..5 {
            let port = free_port();
            // Between choosing the port and using it somebody else may have taken it: then with another.
            if let Some(running) = launch(&binaries, folder.path(), &settings, port) {
                let (databases, templates) = (AtomicU32::new(0), Mutex::default());
                return Self { running, folder, binaries, settings, port, databases, templates };
            }
        }
        panic!("Postgres does not start: {}", log(folder.path()));
    }

    /// The database `postgres`, over TCP.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// A database by name, over TCP.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The same over the Unix socket, which costs a tenth less.
    #[must_use]
    pub fn socket_url_of(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("host={folder} port={} user={USER} dbname={database}", self.port)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the postmaster.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// A new database, a copy of `template`; the first who names a template gets an empty one to fill through `fill`
    /// (handed its URL). Answers the URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn database(&self, template: &str, fill: impl FnOnce(&str)) -> String {
        {
            let mut templates = self.templates.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !templates.iter().any(|known| known == template) {
                self.create(template, "template1");
                fill(&self.url_of(template));
                templates.push(template.to_owned());
            }
        }
        let name = format!("test_{}", self.databases.fetch_add(1, Relaxed));
        self.create(&name, template);
        self.url_of(&name)
    }

    /// Runs SQL in a database as the superuser; answers what `psql` prints, unaligned and without headers.
    ///
    /// # Panics
    /// When the SQL fails; says why.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.client("psql");
        psql.args(["-v", "ON_ERROR_STOP=1", "-XqAt", "-d", database, "-c", sql]);
        let done = psql.output().expect("`psql` starts");
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }

    /// `kill -9` of all its processes; whoever is connected loses the connection.
    pub fn kill9(&self) {
        self.running.kill9();
    }

    /// Starts it again on the same port and data, after [`Self::kill9`] or not (then it is stopped at once, as by a crash).
    ///
    /// # Panics
    /// When it does not start; says why.
    pub fn restart(&mut self) {
        self.running.end(true);
        self.running = launch(&self.binaries, self.folder.path(), &self.settings, self.port)
            .unwrap_or_else(|| panic!("Postgres does not start again: {}", log(self.folder.path())));
    }

    fn create(&self, name: &str, template: &str) {
        let done = self.client("createdb").args(["-T", template, name]).output().expect("`createdb` starts");
        assert!(done.status.success(), "createdb {name}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]);
        command
    }
}

fn init(binaries: &Path, folder: &Path, account: Option<Account>) {
    let mut initdb = Command::new(binaries.join("initdb"));
    initdb.args(["--no-sync", "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-D"]).arg(folder.join("data"));
    initdb.current_dir(folder);
    if let Some(Account { uid, gid }) = account {
        use std::os::unix::process::CommandExt;
        initdb.uid(uid).gid(gid);
    }
    let done = initdb.output().expect("`initdb` starts");
    assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
}

/// `None`: it ended before it answered.
fn launch(binaries: &Path, folder: &Path, settings: &[(String, String)], port: u16) -> Option<Watched> {
    let mut command = vec![binaries.join("postgres").display().to_string(), "-D".into()];
    command.push(folder.join("data").display().to_string());
    command.extend(["-p".into(), port.to_string(), "-k".into(), folder.display().to_string()]);
    for (key, value) in settings {
        command.extend(["-c".into(), format!("{key}={value}")]);
    }
    // QUIT is the immediate shutdown: no checkpoint of data that nobody needs any more.
    let running = Watched::start("QUIT", folder, account(), &command);
    let mut answers = false;
    until("Postgres answers", || {
        let mut ready = Command::new(binaries.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        answers = ready.status().is_ok_and(|status| status.success());
        answers || !Path::new(&format!("/proc/{}", running.pid)).exists()
    });
    // Somebody else's server may answer on this port: only ours has a socket in our folder.
    (answers && folder.join(format!(".s.PGSQL.{port}")).exists()).then_some(running).or_else(|| None)
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Debian keeps the programs of each version in a folder of its own; the newest is taken.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    let folders: Vec<PathBuf> = versions.into_iter().rev().map(|(_, folder)| folder).collect();
    let postgres = find("postgres", &folders, "postgresql");
    let folder = postgres.parent().expect("a program is in a folder").to_owned();
    for program in ["initdb", "psql", "createdb", "pg_isready"] {
        assert!(
            folder.join(program).is_file(),
            "`{program}` is missing beside {}: install it with `apt-get install postgresql`",
            postgres.display()
        );
    }
    folder
}

/// Postgres refuses to run as root: then it runs as the account that its package made. `None`: as ourselves.
fn account() -> Option<Account> {
    use std::os::unix::fs::MetadataExt;
    let ourselves = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    if ourselves != 0 {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&"postgres"));
    let line = line.expect("this test runs as root, and Postgres refuses to: make an account with `useradd postgres`");
    let number = |at: usize| line.get(at).and_then(|field| field.parse().ok()).expect("numbers in /etc/passwd");
    Some(Account { uid: number(2), gid: number(3) })
}
