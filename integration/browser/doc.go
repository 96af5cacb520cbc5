// Package browser tests the page with virtual phones in headless Chromium, with
// keyboard and mouse, and the whole way of a sign-in: from countersign send to a
// fetched challenge that somebody has approved in the page. It looks at the page of
// an audit, too: on screens of any width, light and dark, and on paper.
//
// Without Chromium its tests are skipped, unless -browser.required says that it
// has to be there: make browser. With -browser.screenshots=FOLDER they also
// write the pictures of the documents: make screenshots.
package browser
