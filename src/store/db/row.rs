//! How our types are read from columns. A text that its type refuses is an error, never a guess.

use sqlx::{Database, Decode, Type, error::BoxDynError};

use crate::{
    protocol::{
        client::Digest,
        client_id::ClientId,
        client_metadata::{AuthMethod, AuthMethods},
        id_token::SigningAlg,
        pkce::CodeChallenge,
        resource::Resources,
        scope::Scope,
    },
    time::UnixTime,
};

macro_rules! column {
    ($($ty:ty as $column:ty: $read:expr;)+) => {
        $(
            impl<DB: Database> Type<DB> for $ty where $column: Type<DB> {
                fn type_info() -> DB::TypeInfo {
                    <$column as Type<DB>>::type_info()
                }

                fn compatible(ty: &DB::TypeInfo) -> bool {
                    <$column as Type<DB>>::compatible(ty)
                }
            }

            impl<'r, DB: Database> Decode<'r, DB> for $ty where $column: Decode<'r, DB> {
                fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                    let column = <$column as Decode<'r, DB>>::decode(value)?;
                    let read: fn($column) -> Result<Self, BoxDynError> = $read;
                    read(column)
                }
            }
        )+
    };
}

column! {
    UnixTime as i64: |seconds| Ok(Self(seconds));
    AuthMethod as String: |text| Ok(AuthMethod::from_wire(&text).ok_or("no authentication method")?);
    AuthMethods as String: |text| Ok(AuthMethods::from_column(&text).ok_or("no authentication methods")?);
    SigningAlg as String: |text| Ok(SigningAlg::from_wire(&text).ok_or("no signature algorithm of ours")?);
    Digest as String: |text| Ok(Self::from_column(text));
    ClientId as String: |text| Ok(text.parse::<Self>()?);
    Scope as String: |text| Ok(text.parse::<Self>()?);
    Resources as String: |text| Ok(text.parse::<Self>()?);
    CodeChallenge as String: |text| Ok(text.parse::<Self>()?);
}

/// A row as a struct of its columns, in the order of the fields.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)+ }

        impl<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &'r sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                let ($($field,)+) = sqlx::FromRow::from_row(row)?;
                Ok(Self { $($field,)+ })
            }
        }

        impl<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> for $name {
            fn from_row(row: &'r sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                let ($($field,)+) = sqlx::FromRow::from_row(row)?;
                Ok(Self { $($field,)+ })
            }
        }
    };
}
pub(in crate::store) use row;
