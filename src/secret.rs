//! Values that must not be shown.
//!
//! Owns: the one type secrets travel in. Refuses to print itself: `Debug` and `Display` do not
//! reveal, and it is not serialisable, so a secret reaches an answer or a log only through the
//! visible call [`Secret::reveal`]. Memory is wiped on drop.

use std::fmt;

use zeroize::Zeroize;

/// A value whose text never appears by accident.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into custody.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; each call of this is a place to review.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_print() {
        let secret = Secret::new(String::from("fbk_live_hidden"));
        assert!(!format!("{secret:?}").contains("hidden"));
    }
}
