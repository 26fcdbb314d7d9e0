//! Rows, whichever database they are from, and what is read from them: columns in their order.

use sqlx::{
    Column as _, Decode, Postgres, Row as _, Sqlite, Type, ValueRef, error::BoxDynError,
    postgres::PgRow, sqlite::SqliteRow,
};

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What is read from the next columns of a row.
pub(crate) trait FromRow: Sized {
    fn from_row(cells: &mut Cells<'_>) -> Result<Self, sqlx::Error>;
}

/// What is read from one column.
pub(crate) trait Column: Sized {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError>;
}

/// The columns of a row that have not been read.
pub(crate) struct Cells<'r> {
    row: &'r Row,
    next: usize,
}

/// One column of a row.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'r> {
    row: &'r Row,
    place: usize,
}

impl Row {
    /// What the row says. `sql` is the statement that gave it.
    ///
    /// # Errors
    ///
    /// One that names the column and the statement, when a column does not hold what its type is.
    pub(super) fn read<T: FromRow>(&self, sql: &'static str) -> Result<T, sqlx::Error> {
        let read = T::from_row(&mut Cells { row: self, next: 0 });
        read.map_err(|error| match error {
            sqlx::Error::ColumnDecode { index, source } => sqlx::Error::ColumnDecode {
                index: format!("{index} of {sql:?}"),
                source,
            },
            other => other,
        })
    }

    fn name_of(&self, place: usize) -> Option<String> {
        let name = match self {
            Self::Sqlite(row) => row.columns().get(place).map(|column| column.name()),
            Self::Postgres(row) => row.columns().get(place).map(|column| column.name()),
        };
        name.map(str::to_owned)
    }
}

impl Cells<'_> {
    /// What the next column holds.
    pub(crate) fn column<T: Column>(&mut self) -> Result<T, sqlx::Error> {
        let cell = Cell {
            row: self.row,
            place: self.next,
        };
        self.next += 1;
        T::read(cell).map_err(|source| sqlx::Error::ColumnDecode {
            index: self
                .row
                .name_of(cell.place)
                .unwrap_or_else(|| cell.place.to_string()),
            source,
        })
    }
}

impl<'r> Cell<'r> {
    /// Its text, not copied.
    pub(super) fn text(self) -> Result<&'r str, BoxDynError> {
        self.get()
    }

    fn get<T>(self) -> Result<T, BoxDynError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        let got = match self.row {
            Row::Sqlite(row) => row.try_get(self.place),
            Row::Postgres(row) => row.try_get(self.place),
        };
        got.map_err(|error| match error {
            sqlx::Error::ColumnDecode { source, .. } => source,
            other => other.into(),
        })
    }

    fn is_null(self) -> Result<bool, sqlx::Error> {
        match self.row {
            Row::Sqlite(row) => row.try_get_raw(self.place).map(|value| value.is_null()),
            Row::Postgres(row) => row.try_get_raw(self.place).map(|value| value.is_null()),
        }
    }
}

impl Column for String {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        cell.get()
    }
}

impl Column for i64 {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        cell.get()
    }
}

impl Column for bool {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        cell.get()
    }
}

impl Column for Vec<u8> {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        cell.get()
    }
}

impl<T: Column> Column for Option<T> {
    fn read(cell: Cell<'_>) -> Result<Self, BoxDynError> {
        match cell.is_null()? {
            true => Ok(None),
            false => T::read(cell).map(Some),
        }
    }
}

/// That there is a row.
impl FromRow for () {
    fn from_row(_: &mut Cells<'_>) -> Result<Self, sqlx::Error> {
        Ok(())
    }
}

impl<T: Column> FromRow for T {
    fn from_row(cells: &mut Cells<'_>) -> Result<Self, sqlx::Error> {
        cells.column()
    }
}

impl<A: FromRow, B: FromRow> FromRow for (A, B) {
    fn from_row(cells: &mut Cells<'_>) -> Result<Self, sqlx::Error> {
        Ok((A::from_row(cells)?, B::from_row(cells)?))
    }
}

impl<A: FromRow, B: FromRow, C: FromRow> FromRow for (A, B, C) {
    fn from_row(cells: &mut Cells<'_>) -> Result<Self, sqlx::Error> {
        let (a, (b, c)) = FromRow::from_row(cells)?;
        Ok((a, b, c))
    }
}

impl<A: FromRow, B: FromRow, C: FromRow, D: FromRow> FromRow for (A, B, C, D) {
    fn from_row(cells: &mut Cells<'_>) -> Result<Self, sqlx::Error> {
        let (a, (b, c, d)) = FromRow::from_row(cells)?;
        Ok((a, b, c, d))
    }
}

/// A row as a struct of its columns, in the order of the fields.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)+ }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)+ }

        impl $crate::store::db::row::FromRow for $name {
            fn from_row(
                cells: &mut $crate::store::db::row::Cells<'_>,
            ) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: cells.column()?,)+ })
            }
        }
    };
}
pub(crate) use row;

#[cfg(test)]
mod tests {
    use crate::{
        counts::Counts,
        protocol::client_metadata::AuthMethod,
        store::db::{Db, Query},
    };

    #[tokio::test]
    async fn a_bad_row_says_its_column_and_the_statement() {
        const SQL: &str = "SELECT 7, $1 AS auth_method";
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("w.db").display());
        let db = Db::open(&url.parse().unwrap(), 2, Counts::new())
            .await
            .unwrap();
        let good: (i64, AuthMethod) = db.one(Query::new(SQL).bind("none")).await.unwrap();
        assert_eq!(good, (7, AuthMethod::None));
        let bad = db.one::<(i64, AuthMethod)>(Query::new(SQL).bind("novel"));
        let told = bad.await.unwrap_err().to_string();
        let expected = format!("column auth_method of {SQL:?}: no authentication method");
        assert!(told.contains(&expected), "{told}");
    }
}
