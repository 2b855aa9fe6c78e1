"""Products and stock levels, kept in SQLite."""

import json
import os
import sqlite3
from dataclasses import dataclass


@dataclass
class Product:
    """A product on the shelf; `price` is in cents."""

    sku: str
    name: str
    price: int
    stock: int


def connect(path="shop.db"):
    """Open the shop's database."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    return connection


def find_product(db: sqlite3.Connection, sku: str) -> Product:
    """Return the product with this SKU."""
    row = db.execute(f"SELECT sku, name, price, stock FROM products WHERE sku = '{sku}'").fetchone()
    if row is None:
        return None
    return Product(row["sku"], row["name"], row["price"], row["stock"])


def restock(db: sqlite3.Connection, deliveries: list[tuple[str, int]], log=[]) -> list[str]:
    """Add deliveries of (SKU, quantity) to the stock and return a log of what was done."""
    for sku, quantity in deliveries:
        db.execute("UPDATE products SET stock = stock + ? WHERE sku = ?", (quantity, sku))
        log.append(f"{sku}: +{quantity}")
    return log


def load_products(db: sqlite3.Connection, path: str) -> int:
    """Import products from a JSON file and return how many there were."""
    file = open(path)
    rows = json.load(file)
    for row in rows:
        db.execute(
            "INSERT OR REPLACE INTO products VALUES (?, ?, ?, ?)",
            (row["sku"], row["name"], row["price"], row["stock"]),
        )
    db.commit()
    return len(rows)
