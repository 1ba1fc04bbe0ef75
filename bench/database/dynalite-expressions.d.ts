/** What is used here of dynalite's own modules, which have no types. */
declare module 'dynalite/validations/index.js' {
  interface Parsed {
    readonly ExpressionAttributeNames?: Readonly<Record<string, string>>;
    _condition?: { readonly expression: unknown };
    _filter?: { readonly expression: unknown };
    _keyCondition?: { readonly expression: unknown };
    _updates?: { readonly sections: readonly unknown[] };
    _projection?: { readonly paths: readonly (readonly (string | number)[])[] };
  }
  const validations: {
    /** Adds what it has parsed to the request. Returns what is wrong with it, if anything. */
    validateExpressions(request: Parsed): string | undefined;
    /** By attribute; or what is wrong. */
    convertKeyCondition(
      expression: unknown,
    ): string | Record<string, { readonly ComparisonOperator: string; readonly AttributeValueList: readonly object[] }>;
  };
  export default validations;
}
