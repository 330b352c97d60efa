// Package orders is the business that the demo's mesh is there for: three small HTTP services that do with orders what
// a shop, an ERP and an accounting system do.
//
//	shop ── POST /orders ──▶ ERP ── POST /invoices ──▶ accounting
//
// An order is acknowledged end to end: the shop has its answer only once accounting has booked the invoice. Each
// service keeps a book, in a file, and answers GET /book with the number of orders in it, their sum, and a digest of
// all that was said about them. Where the three books agree, no order was lost, booked twice or altered on its way.
package orders
