//! The 16-bit checksum of the whole product (D-09).

/// CRC-16: polynomial 0x1021, initial 0xFFFF, not reflected, no final XOR; "123456789" gives 0x29B1, nothing 0xFFFF.
#[must_use]
pub fn crc16(octets: &[u8]) -> u16 {
    extend(0xFFFF, octets)
}

/// Continues a checksum over further octets: `extend(crc16(a), b) == crc16(a ‖ b)`.
#[must_use]
pub fn extend(crc: u16, octets: &[u8]) -> u16 {
    octets.iter().fold(crc, |crc, &octet| {
        let index = usize::from((crc >> 8) as u8 ^ octet);
        (crc << 8) ^ TABLE[index]
    })
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::crc16;

    #[test]
    fn the_published_check_value_and_the_empty_input() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
        assert_eq!(crc16(b""), 0xFFFF);
        assert_eq!(crc16(&[0xFF; 28]), 0xF322);
    }
}
