//! Networks in the notation of CIDR.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// An address and the number of its leading bits that count.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Parses `ADDRESS` or `ADDRESS/BITS`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(longest);
        (bits <= longest).then_some(Self { address, bits })
    }

    /// Whether the network contains an address. A text that is no address is in no network.
    pub(super) fn contains(&self, text: &[u8]) -> bool {
        let address = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok());
        match (self.address, address) {
            (IpAddr::V4(ours), Some(IpAddr::V4(other))) => {
                let differing = ours.to_bits() ^ other.to_bits();
                u64::from(differing) >> (32 - u32::from(self.bits)) == 0
            }
            (IpAddr::V6(ours), Some(IpAddr::V6(other))) => {
                let differing = ours.to_bits() ^ other.to_bits();
                differing
                    .checked_shr(128 - u32::from(self.bits))
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_by_their_leading_bits() {
        let is_in = |address: &str, network: &str| {
            Network::parse(network)
                .unwrap()
                .contains(address.as_bytes())
        };
        assert!(is_in("10.1.2.3", "10.0.0.0/8") && !is_in("11.1.2.3", "10.0.0.0/8"));
        assert!(is_in("10.1.2.3", "10.1.2.3") && !is_in("10.1.2.4", "10.1.2.3"));
        assert!(is_in("1.2.3.4", "0.0.0.0/0") && !is_in("::1", "0.0.0.0/0"));
        assert!(is_in("fe80::1", "fe80::/10") && !is_in("2001:db8::1", "fe80::/10"));
        assert!(is_in("2001:db8::1", "::/0") && !is_in("garbage", "::/0"));
        assert!(Network::parse("10.0.0.0/33").is_none() && Network::parse("x/8").is_none());
    }
}
