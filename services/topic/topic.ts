/** The door of topics: the grammar of names and filters, and the matching trie. Knows no subscribers. */
export {
  filterCovers,
  filterMatches,
  filtersOverlap,
  isShareWithoutFilter,
  parseShared,
  type SharedFilter,
  topicFilterError,
  topicNameError,
} from './filter.js';
export { TopicTree } from './tree.js';
