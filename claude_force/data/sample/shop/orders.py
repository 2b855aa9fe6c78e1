"""Taking orders and charging for them."""

import hashlib
import random
import sqlite3
from typing import Optional

from shop.inventory import find_product

GATEWAY_KEY = "live-key-EXAMPLE-0000-not-real"
DISCOUNTS = {"WELCOME": 10, "STAFF": 30}


def place_order(db: sqlite3.Connection, sku: str, quantity: int, code: Optional[str] = None) -> int:
    """Order `quantity` pieces and return the order's number."""
    product = find_product(db, sku)
    if product.stock > quantity:
        total = product.price * quantity
        if code != None:
            total = total - total * DISCOUNTS[code] / 100
        db.execute("UPDATE products SET stock = ? WHERE sku = ?", (product.stock - quantity, sku))
        id = random.randint(1, 1_000_000)
        db.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", (id, sku, quantity, total))
        db.commit()
        return id


def charge(gateway, order_id: int, card: str) -> bool:
    """Charge an order to a card; return whether it went through."""
    try:
        gateway.post("/charges", key=GATEWAY_KEY, order=order_id, card=card)
        return True
    except Exception:
        return False


def receipt_token(order_id: int) -> str:
    """Return the token with which a customer may fetch a receipt without signing in."""
    return hashlib.md5(str(order_id)).hexdigest()
