package table

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
)

// dropDays drops the tables of days whose names are first and a day, and of which old says
// that they may go, and returns how many it dropped. absent says what it means that such a
// table does not exist. Other tables that begin in the same way stay.
func (a *Account) dropDays(ctx context.Context, first, absent string, old func(day time.Time) (bool, error)) (dropped int, err error) {
	pages := a.service.NewListTablesPager(&aztables.ListTablesOptions{
		Filter: to.Ptr(fmt.Sprintf("TableName ge %s and TableName lt %s", quoted(first), quoted(first+":"))), // behind all digits
	})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return dropped, a.table(first, absent).explain("list", err)
		}
		for _, found := range page.Tables {
			name, ok := strings.CutPrefix(*found.Name, first)
			day, err := time.Parse(dayFormat, name)
			if !ok || err != nil {
				continue
			}
			if drop, err := old(day); err != nil {
				return dropped, err
			} else if !drop {
				continue
			}
			// Another instance may drop it at the same time, or an answer was lost.
			if _, err := a.service.DeleteTable(ctx, *found.Name, nil); err != nil && !hasCode(err, aztables.ResourceNotFound) && !hasCode(err, tableBeingDeleted) {
				return dropped, a.table(*found.Name, absent).explain("drop", err)
			}
			dropped++
		}
	}
	return dropped, nil
}
