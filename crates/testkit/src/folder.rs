//! A folder that goes with its owner.

use std::path::{Path, PathBuf};

/// A new folder below the system's folder for temporary files; removed with all that is in it when dropped.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// `purpose` is part of the name, so that a forgotten folder says whose it was.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        let made = tempfile::Builder::new().prefix(&format!("simvault-{purpose}-")).tempdir();
        Self(made.expect("a new folder below the folder for temporary files"))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}
