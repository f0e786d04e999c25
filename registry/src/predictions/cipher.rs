//! Payloads are kept encrypted, with AES-256-GCM under one key. The identifier of the prediction is bound in, so that a
//! payload cannot be passed off as that of another.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use sha2::{Digest, Sha256};

use crate::error::RegistryError;

/// A key, and what it seals with.
pub struct Cipher {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Cipher {
    /// The cipher of a key of 64 hexadecimal digits.
    ///
    /// # Errors
    /// A key that is none.
    pub fn from_hex(key: &str) -> Result<Self, RegistryError> {
        let refuse = || RegistryError::invalid("predictions.payload_key", "must be 64 hexadecimal digits");
        let bytes = hex::decode(key.trim()).map_err(|_| refuse())?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| refuse())?;
        Ok(Self { key: LessSafeKey::new(key), random: SystemRandom::new() })
    }

    /// `plain` of the prediction `id`: a nonce drawn for it alone, then the encrypted bytes with their tag.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn seal(&self, id: &str, mut plain: Vec<u8>) -> Result<Vec<u8>, RegistryError> {
        let failed = |_| RegistryError::Conflict("the payload cannot be encrypted: no random numbers".into());
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(failed)?;
        let drawn = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(drawn, Aad::from(id), &mut plain).map_err(failed)?;
        Ok([&nonce[..], &plain].concat())
    }

    /// What [`Cipher::seal`] was given.
    ///
    /// # Errors
    /// Another key, another prediction, or changed bytes.
    pub fn open(&self, id: &str, sealed: &[u8]) -> Result<Vec<u8>, RegistryError> {
        let refuse =
            || RegistryError::Conflict(format!("the payload of {id} was changed or is under another key"));
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(refuse)?;
        let (nonce, mut rest) = (Nonce::assume_unique_for_key(*nonce), rest.to_vec());
        let plain = self.key.open_in_place(nonce, Aad::from(id), &mut rest).map_err(|_| refuse())?;
        Ok(plain.to_vec())
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

/// SHA-256 of an encoded request, hexadecimal digits.
#[must_use]
pub fn digest(request: &[u8]) -> String {
    hex::encode(Sha256::digest(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(digit: &str) -> Cipher {
        Cipher::from_hex(&digit.repeat(64)).expect("a key")
    }

    #[test]
    fn what_was_sealed_opens_for_its_own_prediction_and_key_only() {
        let sealed = cipher("a").seal("p1", b"tsh 4.2".to_vec()).expect("sealed");
        assert!(!sealed.windows(3).any(|three| three == b"tsh"));
        assert_eq!(cipher("a").open("p1", &sealed).expect("opened"), b"tsh 4.2");
        assert_ne!(cipher("a").seal("p1", b"tsh 4.2".to_vec()).expect("sealed"), sealed, "a nonce for each");
        let mut changed = sealed.clone();
        changed[NONCE_LEN] ^= 1;
        for (key, id, bytes) in [("b", "p1", &sealed), ("a", "p2", &sealed), ("a", "p1", &changed)] {
            assert!(cipher(key).open(id, bytes).is_err(), "{key} {id}");
        }
        assert!(cipher("a").open("p1", &[]).is_err());
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for key in ["", "abc", &"g".repeat(64), &"a".repeat(62)] {
            assert!(Cipher::from_hex(key).is_err(), "{key}");
        }
    }
}
