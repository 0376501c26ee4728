//! SMS TPDUs, user data headers, concatenation and alphabets.
