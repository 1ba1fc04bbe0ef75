/** The door of topics: the grammar of names and filters, and the matching trie. Knows no subscribers. */
export {
  filterMatches,
  filtersOverlap,
  isShareWithoutFilter,
  levelsError,
  parseShared,
  type SharedFilter,
  topicBytesMax,
  topicFilterError,
  topicLevelsMax,
  topicNameError,
  wildcardPattern,
} from './filter.js';
export { TopicTree } from './tree.js';
