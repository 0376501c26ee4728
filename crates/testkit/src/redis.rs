//! A Redis of one's own, with its log of commands written to the disk every second, as in production.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use crate::{
    Folder, free_port,
    tls::Identity,
    watched::{Watched, find, until},
};

/// Names in the server's folder.
const CERTIFICATE: &str = "certificate.pem";
const PRIVATE_KEY: &str = "private-key.pem";

/// A running server; dropping it ends it and removes its folder.
#[derive(Debug)]
pub struct Server {
    running: Watched,
    folder: Folder,
    port: u16,
    /// Where it speaks TLS, if at all.
    tls_port: Option<u16>,
}

impl Server {
    /// # Panics
    /// When Redis is not installed or does not start; says why.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(Folder::new("redis"), false)
    }

    /// As [`Self::start`], with TLS on a port of its own.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_with_tls(identity: &Identity) -> Self {
        let folder = Folder::new("redis");
        std::fs::write(folder.join(CERTIFICATE), &identity.certificate_pem).expect("a file in one's own folder");
        std::fs::write(folder.join(PRIVATE_KEY), &identity.private_key_pem).expect("a file in one's own folder");
        Self::start_in(folder, true)
    }

    fn start_in(folder: Folder, with_tls: bool) -> Self {
        for _ in 0..5 {
            let (port, tls_port) = (free_port(), with_tls.then(free_port));
            if let Some(running) = launch(folder.path(), port, tls_port) {
                return Self { running, folder, port, tls_port };
            }
        }
        panic!("Redis does not start: {}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The address of its TLS port; `None` unless [`Self::start_with_tls`] started it.
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        self.tls_port.map(|port| format!("rediss://127.0.0.1:{port}/"))
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the server.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// `kill -9`; whoever is connected loses the connection.
    pub fn kill9(&self) {
        self.running.kill9();
    }

    /// As [`Self::restart`], with all that it held gone: a disk that was lost.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_empty(&mut self) {
        self.running.end(true);
        // Before its first write there is no such folder.
        drop(std::fs::remove_dir_all(self.folder.join("appendonlydir")));
        self.running = launch(self.folder.path(), self.port, self.tls_port).expect("Redis starts again on its port");
    }

    /// Starts it again on the same port and data, after [`Self::kill9`] or not.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.running.end(true);
        self.running = launch(self.folder.path(), self.port, self.tls_port).expect("Redis starts again on its port");
    }
}

/// `None`: it ended before it answered.
fn launch(folder: &Path, port: u16, tls_port: Option<u16>) -> Option<Watched> {
    let mut command = vec![find("redis-server", &[], "redis-server").display().to_string()];
    let settings = [
        ("--port", port.to_string()),
        ("--bind", "127.0.0.1".into()),
        ("--dir", folder.display().to_string()),
        ("--appendonly", "yes".into()),
        ("--appendfsync", "everysec".into()),
        ("--save", String::new()),
        ("--daemonize", "no".into()),
    ];
    command.extend(settings.into_iter().flat_map(|(key, value)| [key.to_owned(), value]));
    if let Some(tls_port) = tls_port {
        let settings = [
            ("--tls-port", tls_port.to_string()),
            ("--tls-cert-file", folder.join(CERTIFICATE).display().to_string()),
            ("--tls-key-file", folder.join(PRIVATE_KEY).display().to_string()),
            ("--tls-ca-cert-file", folder.join(CERTIFICATE).display().to_string()),
            ("--tls-auth-clients", "no".to_owned()),
        ];
        command.extend(settings.into_iter().flat_map(|(key, value)| [key.to_owned(), value]));
    }
    let running = Watched::start("TERM", folder, None, &command);
    let mut answers = false;
    until("Redis answers", || {
        answers = ping(port).is_ok_and(|process| process == running.pid);
        answers || !Path::new(&format!("/proc/{}", running.pid)).exists()
    });
    answers.then_some(running)
}

/// The process id that the server on this port says it has; an error while it loads its data.
fn ping(port: u16) -> std::io::Result<u32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
    stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let process = answer.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
    process.filter(|_| answer.starts_with("+PONG")).ok_or_else(|| std::io::Error::other("not ready"))
}
