//! The gRPC contracts of `proto/simvault`, compiled; one module per package. Nothing here is written by hand but the
//! list of packages and the descriptor set that reflection serves.

/// Encoded `FileDescriptorSet` of every package, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! packages {
    ($($name:ident),*) => {$(
        #[allow(missing_docs, clippy::all, clippy::pedantic)]
        pub mod $name {
            include!(concat!(env!("OUT_DIR"), "/simvault.", stringify!($name), ".v1.rs"));
        }
    )*};
}

packages!(inbound, outbound, session, centre, diagnostics);
