package orders

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Cents are an amount of money.
type Cents int64

// String is the amount as on an invoice.
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	return fmt.Sprintf("%s%d.%02d €", sign, c/100, c%100)
}

// An Order is what a customer wants.
type Order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Lines    []Line `json:"lines"`
	Total    Cents  `json:"total"`
	Note     string `json:"note"`
}

// A Line is one article of an order.
type Line struct {
	Article  string `json:"article"`
	Quantity int    `json:"quantity"`
	Price    Cents  `json:"price"` // of one
}

// Check reports all that is wrong with the order.
func (o Order) Check() error {
	var problems []error
	if o.ID == "" || o.Customer == "" || len(o.Lines) == 0 {
		problems = append(problems, errors.New("an order has an id, a customer and at least one line"))
	}
	var sum Cents
	for i, line := range o.Lines {
		if line.Article == "" || line.Quantity < 1 || line.Price < 0 {
			problems = append(problems, fmt.Errorf("line %d: no article, quantity below 1 or price below 0", i+1))
		}
		sum += Cents(line.Quantity) * line.Price
	}
	if sum != o.Total {
		problems = append(problems, fmt.Errorf("the lines add up to %v, and the total is %v", sum, o.Total))
	}
	return errors.Join(problems...)
}

// Fingerprint is a digest of the whole order.
func (o Order) Fingerprint() string {
	text, err := json.Marshal(o)
	if err != nil {
		return "" // an order has nothing that cannot be written
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// An Invoice is what the ERP tells accounting of an order.
type Invoice struct {
	Order       string `json:"order"`
	Customer    string `json:"customer"`
	Total       Cents  `json:"total"`
	Fingerprint string `json:"fingerprint"` // of the order
	Note        string `json:"note"`
}

// A Receipt acknowledges an order.
type Receipt struct {
	Order   string `json:"order"`
	Invoice string `json:"invoice"` // its number
	Total   Cents  `json:"total"`
}

// Customers are those of the shop. Their names are easy to recognise where they should not be.
func Customers() []string {
	return []string{
		"Hanna Brandt", "Jonas Wiedemann", "Leyla Aydin", "Tomasz Kowalczyk", "Ingrid Solheim", "Pietro Bellandi",
		"Marguerite Lefèvre", "Dimitrios Papadakis", "Ana Filipe", "Oskar Lindqvist", "Zsófia Kertész", "Ruairí Ó Sé",
	}
}

// catalogue is what the shop sells.
func catalogue() []Line {
	return []Line{
		{Article: "tea, green, 250 g", Price: 1290},
		{Article: "teapot, cast iron", Price: 5450},
		{Article: "cup, porcelain", Price: 1875},
		{Article: "strainer", Price: 399},
		{Article: "honey, 500 g", Price: 749},
	}
}

// Make makes the order of a number. Different numbers give different orders, and the same number the same one; note is
// in each of them, so that it can be searched for.
func Make(number int, note string) Order {
	customers, articles := Customers(), catalogue()
	o := Order{ID: fmt.Sprintf("A-%06d", number), Customer: customers[number%len(customers)], Note: note}
	for i := range 1 + number%3 {
		line := articles[(number+i)%len(articles)]
		line.Quantity = 1 + (number/7+i)%4
		o.Lines = append(o.Lines, line)
		o.Total += Cents(line.Quantity) * line.Price
	}
	return o
}
