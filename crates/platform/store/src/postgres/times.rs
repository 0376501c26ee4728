//! [`Timestamp`] as `timestamptz`.

use std::error::Error;

use domain::identity::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, private::BytesMut, to_sql_checked};

/// Microseconds from 1970 to 2000, where Postgres starts counting.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A time on its way to or from the database.
#[derive(Clone, Copy, Debug)]
pub struct At(pub Timestamp);

impl At {
    pub fn micros(self) -> i64 {
        self.0.0
    }
}

impl ToSql for At {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.0.0.saturating_sub(POSTGRES_EPOCH).to_sql(ty, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for At {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(Timestamp(i64::from_sql(ty, raw)?.saturating_add(POSTGRES_EPOCH))))
    }

    accepts!(TIMESTAMPTZ);
}
