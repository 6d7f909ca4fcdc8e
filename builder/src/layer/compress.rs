//! The two compressed forms of a layer. Whole buffer in, whole buffer out, one thread: the bytes depend on the input
//! alone, not on how it was cut or on the machine.

use libdeflater::{CompressionLvl, Compressor};
use zstd::zstd_safe::CParameter;

/// The base-2 logarithm of the largest window that every zstd decoder must take: 8 MiB (RFC 8878, section 3.1.1.1.2).
const WINDOW_LOG: u32 = 23;
/// zstd's highest level. Costs no more than 19 on what fits into the window.
const ZSTD_LEVEL: i32 = 22;

/// `bytes` as gzip: no name, no time.
///
/// libdeflate, because it is 4 % smaller than zlib's best and decides with integers only; zopfli is no smaller, twenty
/// times slower, and its floating point may round differently elsewhere.
pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::best());
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).expect("the buffer has the size that was asked for");
    out.truncate(length);
    out
}

/// `bytes` as one zstd frame that says its size and has a checksum.
pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let parameters = [
        CParameter::CompressionLevel(ZSTD_LEVEL),
        CParameter::WindowLog(WINDOW_LOG),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(true),
    ];
    let compress = || {
        let mut compressor = zstd::bulk::Compressor::default();
        for parameter in parameters {
            compressor.set_parameter(parameter)?;
        }
        compressor.compress(bytes)
    };
    compress().expect("the parameters are in their ranges and the memory is there")
}
